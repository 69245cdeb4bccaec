"""The few hot calls of SQS and DynamoDB, at a tenth of what boto3 takes of the CPU.

botocore shows once how it would send each of them (`form`). From then on requests are written here, signed
here, and go over connections that are kept open, without threads. Credentials, endpoints, the rules of
retries and the reading of errors stay botocore's own. Where botocore would do what this package can't,
`Unusual` says so, and boto3 makes the calls.
"""

from kon.backends.aws.lean.client import Lean
from kon.backends.aws.lean.form import Unusual

__all__ = ["Lean", "Unusual"]
