"""A trail that is there is not made again.

moto puts the new one in the place of the old one, which stops it.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html (`TrailAlreadyExistsException`)

Ours, and not proven by an independent emulator.
"""

from moto.cloudtrail.models import CloudTrailBackend
from moto.core.exceptions import JsonRESTError


def apply():
    CloudTrailBackend.create_trail = once(CloudTrailBackend.create_trail)


def once(create):
    def created(backend, name, *args, **kwargs):
        if name in backend.trails:
            raise JsonRESTError("TrailAlreadyExistsException", f"Trail {name} already exists")
        return create(backend, name, *args, **kwargs)

    return created
