"""Security groups take as many rules as AWS gives to those who ask.

moto enforces the quota of a new account (60). The highest that AWS grants is 1,000 rules for each direction, in one
group of an interface.

https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-security-groups

Ours, and not proven by an independent emulator.
"""

from moto.ec2.exceptions import RulesPerSecurityGroupLimitExceededError
from moto.ec2.models.security_groups import SecurityGroupBackend

RULES = 1000


def apply():
    SecurityGroupBackend._verify_group_will_respect_rule_count_limit = within_quota


def within_quota(self, group, current_rule_nb, ip_ranges, source_groups=None, egress=False):
    if current_rule_nb + len(ip_ranges or []) + len(source_groups or []) > RULES:
        raise RulesPerSecurityGroupLimitExceededError
