"""How much may be started: quotas, rates, the depth of the queue. The door for others is ``api``."""
