"""A key is as old as the path of its user says: `/made-100-days-ago/`.

In moto all keys are new, and there is no call that makes an old one, in AWS either: tests need one.

Ours: AWS gives no meaning to paths.
"""

import re
from datetime import timedelta

from moto.iam.models import User

AGE = re.compile(r"^/made-(\d+)-days-ago/$")


def apply():
    made = User.create_access_key

    def create_access_key(self, *args, **kwargs):
        key = made(self, *args, **kwargs)
        age = AGE.match(self.path or "")
        if age:
            key.create_date -= timedelta(days=int(age.group(1)))
        return key

    User.create_access_key = create_access_key
