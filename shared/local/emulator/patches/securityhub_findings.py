"""Findings of Security Hub are checked when they are imported, and can be updated.

moto has no BatchUpdateFindings; it takes any finding, an update that is older than what it updates, and a provider's
word on what only customers say.

https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html
https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindings.html
https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_AwsSecurityFinding.html
https://docs.aws.amazon.com/securityhub/latest/userguide/finding-update-batchimportfindings.html

Ours, and not proven by an independent emulator.
"""

import json
import re
from datetime import datetime, timezone

from botocore.session import get_session
from moto.securityhub import urls
from moto.securityhub.exceptions import InvalidInputException
from moto.securityhub.models import Finding, SecurityHubBackend
from moto.securityhub.responses import SecurityHubResponse

MOST = 100
BYTES = 240 * 1024

# Where the reference says how long a text may be.
LIMITS = {
    "Id": (1, 512),
    "ProductArn": (12, 2048),
    "ProductName": (1, 128),
    "CompanyName": (1, 128),
    "GeneratorId": (1, 512),
    "AwsAccountId": (12, 12),
    "Title": (1, 256),
    "Description": (1, 1024),
    "Severity.Original": (1, 64),
    "Remediation.Recommendation.Text": (1, 512),
    "Resources.Type": (1, 256),
    "Resources.Id": (1, 512),
    "Resources.Region": (1, 16),
    "ProductFields": (1, 2048),
    "Note.Text": (1, 512),
    "Note.UpdatedBy": (1, 512),
}

# What is the customer's once the finding is there.
CUSTOMERS = ("Note", "UserDefinedFields", "VerificationState", "Workflow")


def apply():
    urls.url_paths["{0}/findings/batchupdate$"] = SecurityHubResponse.dispatch
    SecurityHubResponse.batch_update_findings = answer_update
    SecurityHubBackend.batch_update_findings = update
    SecurityHubBackend.batch_import_findings = import_all


def answer_update(self):
    processed, unprocessed = self.securityhub_backend.batch_update_findings(json.loads(self.body))
    return json.dumps({"ProcessedFindings": processed, "UnprocessedFindings": unprocessed})


def update(backend, asked):
    operation = "BatchUpdateFindings"
    identifiers = asked.get("FindingIdentifiers") or []
    wrong = faults(shape("BatchUpdateFindingsRequest"), asked)
    if not 1 <= len(identifiers) <= MOST:
        wrong.append(f"FindingIdentifiers has {len(identifiers)} items")
    if wrong:
        raise InvalidInputException(operation, "; ".join(wrong))

    processed, unprocessed = [], []
    for identifier in identifiers:
        found = find(backend, identifier["Id"], identifier["ProductArn"])
        if identifiers.count(identifier) > 1:
            unprocessed.append(refused(identifier, "DuplicatedFindingIdentifier", "Finding Identifier is duplicated"))
        elif found is None:
            unprocessed.append(refused(identifier, "FindingNotFound", "Finding Not Found"))
        else:
            told = {name: value for name, value in asked.items() if name != "FindingIdentifiers"}
            if "Note" in told:
                told["Note"] = {**told["Note"], "UpdatedAt": datetime.now(timezone.utc).isoformat()}
            found.data.update(told)
            processed.append(identifier)
    return processed, unprocessed


def refused(identifier, code, message):
    return {"FindingIdentifier": identifier, "ErrorCode": code, "ErrorMessage": message}


def import_all(backend, findings):
    if not 1 <= len(findings) <= MOST:
        raise InvalidInputException("BatchImportFindings", f"Findings has {len(findings)} items")
    failed = []
    for data in findings:
        wrong = faults(shape("AwsSecurityFinding"), data) or misfits(data)
        product = f":{backend.account_id}:product/{backend.account_id}/default"
        if wrong:
            failed.append({"Id": str(data.get("Id")), "ErrorCode": "InvalidInput", "ErrorMessage": "; ".join(wrong)})
        elif data["AwsAccountId"] != backend.account_id or not data["ProductArn"].endswith(product):
            failed.append({"Id": data["Id"], "ErrorCode": "InvalidAccess", "ErrorMessage": "not the caller's product"})
        else:
            take(backend, data)
    return len(failed), len(findings) - len(failed), failed


def take(backend, data):
    known = find(backend, data["Id"], data["ProductArn"])
    if known is None:
        backend.findings.append(Finding(data["Id"], data))
    elif time(data["UpdatedAt"]) > time(known.data["UpdatedAt"]):
        if is_worse(known.data, data) and known.data.get("Workflow", {}).get("Status") in ("NOTIFIED", "RESOLVED"):
            known.data["Workflow"] = {"Status": "NEW"}
        known.data.update({name: value for name, value in data.items() if name not in CUSTOMERS})


def is_worse(known, data):
    """https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_Workflow.html"""
    was, now = (finding.get("Compliance", {}).get("Status") for finding in (known, data))
    is_back = (known.get("RecordState"), data.get("RecordState")) == ("ARCHIVED", "ACTIVE")
    return is_back or was == "PASSED" and now in ("WARNING", "FAILED", "NOT_AVAILABLE")


def find(backend, finding_id, product):
    for finding in backend.findings:
        if finding.id == finding_id and finding.data["ProductArn"] == product:
            return finding
    return None


def misfits(finding):
    """What no type says."""
    wrong = []
    if finding["SchemaVersion"] != "2018-10-08":
        wrong.append("SchemaVersion is unknown")
    severities = [finding.get("Severity"), finding.get("FindingProviderFields", {}).get("Severity")]
    if not any(severity and ("Label" in severity or "Normalized" in severity) for severity in severities):
        wrong.append("Severity has neither Label nor Normalized")
    if not 1 <= len(finding["Resources"]) <= 32:
        wrong.append("Resources has none or too many")
    if len(finding.get("Types", [])) > 50 or len(finding.get("ProductFields", {})) > 50:
        wrong.append("Types or ProductFields has too many")
    for name in ("CreatedAt", "UpdatedAt", "FirstObservedAt", "LastObservedAt"):
        if name in finding and time(finding[name]) is None:
            wrong.append(f"{name} is no time")
    if len(json.dumps(finding).encode()) > BYTES:
        wrong.append("Finding size exceeded 240 KB")
    return wrong


def time(text):
    fits = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", text)
    return text.rstrip("Z") if fits else None


def shape(name):
    return get_session().get_service_model("securityhub").shape_for(name)


def faults(shape, value, at=""):
    """Where a value is not what the API's own model says, or longer than the reference allows."""
    kind = {"structure": dict, "map": dict, "list": list, "string": str, "integer": int}.get(shape.type_name)
    if kind and not isinstance(value, kind):
        return [f"{at} is no {shape.type_name}"]
    if shape.type_name == "structure":
        wrong = [f"{at}{name} is missing" for name in shape.required_members if name not in value]
        for name, member in value.items():
            path = f"{at}{name}"
            known = shape.members.get(name)
            wrong += faults(known, member, f"{path}.") if known else [f"{path} is unknown"]
        return wrong
    if shape.type_name == "list":
        return [fault for member in value for fault in faults(shape.member, member, at)]
    if shape.type_name == "map":
        texts = [*value.keys(), *value.values()]
        return [fault for text in texts for fault in faults(shape.value, text, at)]
    if shape.type_name == "string":
        at = at.rstrip(".")
        least, most = LIMITS.get(at, (0, BYTES))
        # As Java counts.
        length = len(value.encode("utf-16-le")) // 2
        if not least <= length <= most:
            return [f"{at} has {length} characters"]
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            return [f"{at} is blank or has several lines"]
        if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
            return [f"{at} is {value}"]
    return []
