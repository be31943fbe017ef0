"""Jobs that live in other services: the protocol between the scheduler and them, and both of its sides."""
