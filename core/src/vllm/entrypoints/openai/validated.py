"""Owns reading a body that a route got as plain data: the same errors as if the framework had read it."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

__all__ = ["validated"]

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], body: dict[str, Any]) -> Model:
    """The body as a `model`. Raises RequestValidationError, which is answered with 400."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
