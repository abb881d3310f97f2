"""The ACL of an object is set from the body of the call too, and for the version that is named.

moto takes it from headers alone, sets the bucket's where there are none, and always of the current version.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html

Ours, and not proven by an independent emulator.
"""

from moto.s3.exceptions import MissingKey, MissingVersion
from moto.s3.responses import S3Response


def apply():
    S3Response.put_object_acl = put


def put(self):
    key_name, version = self.parse_key_name(), self._get_param("versionId")
    acl = self._acl_from_headers(self.headers) or self._acl_from_body()
    found = self.backend.get_object(self.bucket_name, key_name, version_id=version)
    if found is None:
        raise MissingVersion() if version else MissingKey(key=key_name)
    found.set_acl(acl)
    return 200, {}, ""
