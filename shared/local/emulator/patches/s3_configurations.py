"""A bucket's versioning, encryption, lifecycle and replication are given back as they were put.

moto names the first element of some answers otherwise than AWS, which the SDK for Rust refuses; it leaves out what it
has no field for (filters of replication, limits of lifecycle rules, blocked kinds of encryption); and a bucket whose
encryption nobody configured has none, where AWS has encrypted with its own keys since January 2023.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketEncryption.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketReplication.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html

Ours, and not proven by an independent emulator.
"""

from moto.s3.responses import S3Response

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
MINIMUM_SIZE = "x-amz-transition-default-minimum-object-size"
NEVER_CONFIGURED = (
    f"<ServerSideEncryptionConfiguration {NAMESPACE}><Rule><ApplyServerSideEncryptionByDefault>"
    "<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"
    "<BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
)

put = S3Response._bucket_response_put
get_encryption = S3Response.get_bucket_encryption
get_lifecycle = S3Response.get_bucket_lifecycle
get_replication = S3Response.get_bucket_replication


def apply():
    S3Response._bucket_response_put = keep
    S3Response.get_bucket_versioning = versioning
    S3Response.get_bucket_encryption = encryption
    S3Response.get_bucket_lifecycle = lifecycle
    S3Response.get_bucket_replication = replication


def keep(self, request, bucket_name, querystring):
    """After moto has taken it: what moto refuses is not kept."""
    answer = put(self, request, bucket_name, querystring)
    for kind in ("encryption", "lifecycle", "replication"):
        if kind in querystring:
            kept(self)[kind] = self.body
    if "lifecycle" in querystring:
        kept(self)["minimum"] = request.headers.get(MINIMUM_SIZE, "all_storage_classes_128K")
    return answer


def kept(self):
    return self.backend.get_bucket(self.bucket_name).__dict__.setdefault("quell_kept", {})


def versioning(self):
    status = self.backend.get_bucket_versioning(self.bucket_name)
    content = f"<Status>{status}</Status>" if status else ""
    return f"<VersioningConfiguration {NAMESPACE}>{content}</VersioningConfiguration>"


def encryption(self):
    if not self.backend.get_bucket_encryption(self.bucket_name):
        return NEVER_CONFIGURED
    return kept(self).get("encryption") or get_encryption(self)


def lifecycle(self):
    answer = get_lifecycle(self)
    body = kept(self).get("lifecycle")
    return (200, {MINIMUM_SIZE: kept(self)["minimum"]}, body) if body else answer


def replication(self):
    answer = get_replication(self)
    return kept(self).get("replication") or answer
