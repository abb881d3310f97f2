"""Expressions as DynamoDB takes them: the values given are those that are used, and a condition about what is not
there, or is of another type, is false.

moto fails with an error of its own where a value is missing, where the types cannot be ordered and where the size of
nothing is asked for; it takes a value that no expression uses, and an absent attribute for one that is NULL.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ExpressionAttributeValues.html

Ours, and not proven by an independent emulator.
"""

import re

from moto.dynamodb import comparisons
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.responses import DynamoHandler

EXPRESSIONS = ("ConditionExpression", "UpdateExpression", "KeyConditionExpression", "FilterExpression")


def apply():
    for call in ("put_item", "update_item", "delete_item", "query", "scan", "transact_write_items"):
        setattr(DynamoHandler, call, with_the_values_of_its_expressions(getattr(DynamoHandler, call)))
    for compared in (
        comparisons.OpLessThan,
        comparisons.OpLessThanOrEqual,
        comparisons.OpGreaterThan,
        comparisons.OpGreaterThanOrEqual,
        comparisons.OpEqual,
        comparisons.FuncBetween,
    ):
        compared.expr = false_where_it_has_no_meaning(compared.expr)
    comparisons.OpEqual.expr = false_of_what_is_absent(comparisons.OpEqual.expr)


def with_the_values_of_its_expressions(call):
    def checked(handler):
        items = handler.body.get("TransactItems")
        for operation in [next(iter(item.values()), {}) for item in items] if items else [handler.body]:
            check_values(operation)
        return call(handler)

    return checked


def check_values(operation):
    given = set(operation.get("ExpressionAttributeValues") or {})
    used = set()
    for kind in EXPRESSIONS:
        for value in re.findall(r":\w+", operation.get(kind) or ""):
            if value not in given:
                raise MockValidationException(
                    f"Invalid {kind}: An expression attribute value used in expression is not defined; "
                    f"attribute value: {value}"
                )
            used.add(value)
    if given - used:
        unused = ", ".join(sorted(given - used))
        raise MockValidationException(
            f"Value provided in ExpressionAttributeValues unused in expressions: keys: {{{unused}}}"
        )


def false_where_it_has_no_meaning(expr):
    def judged(condition, item):
        try:
            return expr(condition, item)
        except (TypeError, ValueError):
            return False

    return judged


def false_of_what_is_absent(expr):
    def judged(condition, item):
        operands = (condition.lhs, condition.rhs)
        absent = any(isinstance(o, comparisons.AttributePath) and o.get_type(item) is None for o in operands)
        return not absent and expr(condition, item)

    return judged
