"""A model of SQS, DynamoDB and S3 at the level of HTTP: requests in, replies out, in virtual time."""
