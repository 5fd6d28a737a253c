"""What requests and responses look like, as pydantic models; one file per route family."""
