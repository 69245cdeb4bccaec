"""Task queues on SQS, and a loop as the older systems had it. They run in a virtualenv of their own,
.cache/bench-aws, as their pins of botocore are not kon's; nothing here imports kon."""
