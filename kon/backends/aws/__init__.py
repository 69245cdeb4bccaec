"""Amazon SQS, DynamoDB and S3 as a backend."""
