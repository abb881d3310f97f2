"""Authorizing and revoking answer with all the rules that came or went.

moto tells of the last permission's rules when authorizing, and of none when revoking.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html (`securityGroupRuleSet`)
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RevokeSecurityGroupIngress.html (`revokedSecurityGroupRuleSet`)

Ours, and not proven by an independent emulator.
"""

from moto.core.responses import ActionResult
from moto.ec2.responses.security_groups import SecurityGroups


def apply():
    for direction in ("ingress", "egress"):
        for name, answer in (("authorize", authorized), ("revoke", revoked)):
            name = f"{name}_security_group_{direction}"
            setattr(SecurityGroups, name, telling(getattr(SecurityGroups, name), direction, answer))


def telling(call, direction, answer):
    """The same call, answering with the difference that it made."""

    def rules(response):
        name = response._get_param("GroupId") or response._get_param("GroupName")
        group = response.ec2_backend.get_security_group_by_name_or_id(name, None)
        return {rule.id: rule for rule in getattr(group, f"{direction}_rules")} if group else {}

    def told(response):
        before = rules(response)
        result = call(response)
        return answer(before, rules(response), result)

    return told


def authorized(before, after, result):
    came = [rule for rule_id, rule in after.items() if rule_id not in before]
    return ActionResult({"Return": True, "SecurityGroupRules": came}) if came else result


def revoked(before, after, _):
    went = [rule for rule_id, rule in before.items() if rule_id not in after]
    return ActionResult({"Return": True, "RevokedSecurityGroupRules": [described(rule) for rule in went]})


def described(rule):
    described = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "IsEgress": rule.is_egress,
        "IpProtocol": rule.ip_protocol,
        "FromPort": -1 if rule.from_port is None else rule.from_port,
        "ToPort": -1 if rule.to_port is None else rule.to_port,
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "PrefixListId": rule.prefix_list_id,
        "ReferencedGroupId": rule.source_group.get("GroupId"),
        "Description": rule.description,
    }
    return {name: value for name, value in described.items() if value is not None}
