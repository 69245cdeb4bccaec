"""The simulator: kon's own worker, client and strategies in virtual time, over services that misbehave.

`loop` runs asyncio without time, threads or sockets; `messages`, `ledger` and `backend` behave as SQS,
DynamoDB and S3 are documented to, `faults` says how often they fail, `latency` how long they take,
and `trace` keeps what happened. `backend` puts them behind kon's own abstract classes.
"""
