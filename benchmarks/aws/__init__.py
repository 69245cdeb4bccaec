"""kon's backend `aws` beside its peers, all on one emulator of SQS, DynamoDB and S3: `make bench-aws`."""
