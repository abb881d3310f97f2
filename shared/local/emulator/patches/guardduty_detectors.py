"""A region of an account has one detector, and who asks twice with the same client token gets the same.

moto makes a detector for each request.

https://docs.aws.amazon.com/guardduty/latest/APIReference/API_CreateDetector.html (`clientToken`, `BadRequestException`)

Ours, and not proven by an independent emulator.
"""

import json

from moto.core.exceptions import JsonRESTError
from moto.guardduty.responses import GuardDutyResponse


def apply():
    GuardDutyResponse.create_detector = once(GuardDutyResponse.create_detector)


def once(create):
    def created(response):
        backend = response.guardduty_backend
        token = response._get_param("clientToken")
        for detector in backend.detectors.values():
            if token and getattr(detector, "client_token", None) == token:
                return json.dumps({"detectorId": detector.id})
            raise There()
        reply = create(response)
        backend.detectors[json.loads(reply)["detectorId"]].client_token = token
        return reply

    return created


class There(JsonRESTError):
    code = 400

    def __init__(self):
        super().__init__(
            "InvalidInputException",
            "The request is rejected because a detector already exists for the current account.",
        )

    def get_headers(self, *args, **kwargs):
        return [("X-Amzn-ErrorType", "BadRequestException")]
