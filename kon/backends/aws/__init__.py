"""Amazon SQS, DynamoDB and S3 as a backend."""

from kon.backends.aws.backend import AwsBackend

__all__ = ["AwsBackend"]
