"""The root user of the account: it has a second factor, and a key once it has made one for itself.

In moto it has neither and gets neither: a call by nobody's key makes no key.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html
https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html

Ours, and not proven by an independent emulator.
"""

from moto.core.responses import ActionResult
from moto.iam.models import AccessKey, AccountSummary
from moto.iam.responses import IamResponse


def apply():
    summary, create = AccountSummary.summary_map.fget, IamResponse.create_access_key

    def summary_map(self):
        keys = getattr(self._iam_backend, "root_keys", [])
        of_root = {"AccountMFAEnabled": 1, "AccountPasswordPresent": 1, "AccountAccessKeysPresent": len(keys)}
        return {**summary(self), **of_root}

    def create_access_key(self):
        if self._get_param("UserName"):
            return create(self)
        key = AccessKey(user_name="root", prefix="AKIA", account_id=self.current_account)
        self.backend.root_keys = [*getattr(self.backend, "root_keys", []), key]
        return ActionResult({"AccessKey": key})

    AccountSummary.summary_map = property(summary_map)
    IamResponse.create_access_key = create_access_key
