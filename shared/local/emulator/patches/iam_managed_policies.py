"""AWS's own policies for administrators, and for users whose keys others hold, can be attached.

moto knows AWS's policies only where it loads all of them, which takes longer than everything else at its start.

https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AdministratorAccess.html
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html

Ours, and not proven by an independent emulator.
"""

from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends


def apply():
    IAMBackend._init_aws_policies = policies
    # Other services look keys up in IAM: it may be there before it is called.
    for of_account in list(iam_backends.values()):
        for backend in list(of_account.values()):
            backend.aws_managed_policies = policies(backend)
            backend.managed_policies.update({policy.arn: policy for policy in backend.aws_managed_policies})


# What they say, in short.
SAY = {
    "AdministratorAccess": {"Effect": "Allow", "Action": "*", "Resource": "*"},
    "AWSCompromisedKeyQuarantineV3": {"Effect": "Deny", "Action": "iam:Create*", "Resource": "*"},
}


def policies(self):
    def policy(name):
        said = {
            "Path": "/",
            "DefaultVersionId": "v1",
            "CreateDate": "2015-02-06T18:39:46+00:00",
            "UpdateDate": "2015-02-06T18:39:46+00:00",
            "Document": {"Version": "2012-10-17", "Statement": [SAY[name]]},
        }
        return AWSManagedPolicy.from_data(name, self.account_id, self.region_name, said)

    return [policy(name) for name in SAY]
