"""Transactions and updates as DynamoDB makes them: all of it, or nothing.

moto copies the whole table once for each item of a transaction, forgets the request's token, reports what an update
cannot do as an invalid request instead of a reason, and leaves half of an update behind that fails in the middle.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html

Ours, and not proven by an independent emulator.
"""

import copy
import json
import time

from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.exceptions import (
    ERROR_TYPE_PREFIX,
    AttributeDoesNotExist,
    DynamodbException,
    IncorrectDataType,
    IncorrectOperandType,
    InvalidUpdateExpressionInvalidDocumentPath,
    ItemSizeTooLarge,
    ItemSizeToUpdateTooLarge,
    MultipleTransactionsException,
    TooManyTransactionsException,
    TransactionCanceledException,
    TransactWriteSingleOpException,
)
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.utilities import DynamoJsonEncoder, dynamo_json_dump
from moto.dynamodb.responses import DynamoHandler

# How long a token is remembered.
IDEMPOTENT_SECONDS = 600

# What only the item as it is can tell: reasons of a cancelled transaction (`ValidationError`), not invalid requests.
UNFIT = (
    AttributeDoesNotExist,
    IncorrectDataType,
    IncorrectOperandType,
    InvalidUpdateExpressionInvalidDocumentPath,
    ItemSizeTooLarge,
    ItemSizeToUpdateTooLarge,
)

FITS = (None, None, None)


def apply():
    updates_are_whole()
    DynamoDBBackend.transact_write_items = transact_write_items
    transactions_are_idempotent()


def updates_are_whole():
    update = DynamoDBBackend.update_item

    def whole(backend, table_name, key, *args, **kwargs):
        before = kept(backend, table_name, key)
        try:
            return update(backend, table_name, key, *args, **kwargs)
        except Exception:
            restore(before)
            raise

    DynamoDBBackend.update_item = whole


def transact_write_items(backend, transact_items):
    """Every condition is judged before anything is written, and each item has a reason of its own, in order."""
    if len(transact_items) > 100:
        raise TooManyTransactionsException()
    operations = []
    seen = set()
    for item in transact_items:
        if len(item) != 1:
            raise TransactWriteSingleOpException()
        kind, operation = next(iter(item.items()))
        table = backend.get_table(operation["TableName"])
        attributes = operation["Item"] if kind == "Put" else operation["Key"]
        names = [table.hash_key_attr] + ([table.range_key_attr] if table.range_key_attr else [])
        # A key that is not whole is for moto to refuse.
        key = {name: attributes[name] for name in names if name in attributes}
        identity = (table.table_arn, dynamo_json_dump(key))
        if identity in seen:
            raise MultipleTransactionsException()
        seen.add(identity)
        operations.append((kind, operation, key))

    reasons = [judged(backend, operation, key) for _, operation, key in operations]
    if any(code for code, _, _ in reasons):
        raise TransactionCanceledException(reasons)

    before = [kept(backend, operation["TableName"], key) for _, operation, key in operations]
    try:
        for index, (kind, operation, key) in enumerate(operations):
            try:
                write(backend, kind, operation, key)
            except UNFIT as unfit:
                reasons[index] = ("ValidationError", unfit.message, None)
        if any(code for code, _, _ in reasons):
            raise TransactionCanceledException(reasons)
    except Exception:
        for item in before:
            restore(item)
        raise


def judged(backend, operation, key):
    """The reason against an operation by its condition: code, message, and the item as it is if that is wanted."""
    current = backend.get_item(operation["TableName"], key)
    condition = get_filter_expression(
        operation.get("ConditionExpression"),
        operation.get("ExpressionAttributeNames"),
        operation.get("ExpressionAttributeValues"),
    )
    if condition.expr(current):
        return FITS
    wanted = operation.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    item = current.to_json()["Attributes"] if wanted and current else None
    return ("ConditionalCheckFailed", "The conditional request failed", item)


def write(backend, kind, operation, key):
    table_name = operation["TableName"]
    if kind == "Put":
        backend.put_item(table_name, operation["Item"])
    elif kind == "Delete":
        backend.delete_item(table_name, key)
    elif kind == "Update":
        backend.update_item(
            table_name,
            key,
            update_expression=operation["UpdateExpression"],
            expression_attribute_names=operation.get("ExpressionAttributeNames"),
            expression_attribute_values=operation.get("ExpressionAttributeValues"),
        )


def kept(backend, table_name, key):
    """An item as it is now, with where it belongs."""
    table = backend.get_table(table_name)
    place = backend.get_keys_value(table, key)
    return table, place, copy.deepcopy(table.get_item(*place))


def restore(before):
    table, (hash_key, range_key), item = before
    if item is None:
        table.delete_item(hash_key, range_key)
    elif range_key:
        table.items[hash_key][range_key] = item
    else:
        table.items[hash_key] = item


class IdempotentParameterMismatch(DynamodbException):
    def __init__(self):
        super().__init__(
            ERROR_TYPE_PREFIX + "IdempotentParameterMismatchException",
            "The request was rejected because it was retried with different parameters but with the same client token.",
        )


def transactions_are_idempotent():
    """A transaction that came again with its token is well, and writes nothing: the answer to the first was lost.

    Every SDK sends a token of its own, the same in each of its attempts.
    """
    write_all = DynamoHandler.transact_write_items
    answered = {}

    def once(handler):
        token = handler.body.get("ClientRequestToken")
        if not token:
            return write_all(handler)
        now = time.monotonic()
        # In the order of their answers.
        while answered and now - answered[next(iter(answered))][0] > IDEMPOTENT_SECONDS:
            del answered[next(iter(answered))]
        # Who calls, where, and with which token.
        call = (handler.current_account, handler.region, token)
        # An SDK may put the attributes in another order the next time.
        asked = json.dumps(handler.body["TransactItems"], cls=DynamoJsonEncoder, sort_keys=True)
        if call in answered:
            _, first, answer = answered[call]
            if first != asked:
                raise IdempotentParameterMismatch()
            return answer
        answer = write_all(handler)
        answered[call] = (time.monotonic(), asked, answer)
        return answer

    DynamoHandler.transact_write_items = once
