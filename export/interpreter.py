"""LiteRT's interpreter as the export uses it: a TFLite file's bytes enter, tensors can be read."""

import warnings
from typing import Any


def open_interpreter(model: bytes, *, keep_all: bool = False, delegates: bool = True) -> Any:
    """LiteRT, one thread, tensors allocated; `keep_all` keeps what lies between operators."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_content=model,
            num_threads=1,
            experimental_preserve_all_tensors=keep_all,
            # XNNPACK lists itself as an operator beside those that it stands for.
            experimental_op_resolver_type=OpResolverType.AUTO if delegates else plain,
        )
    interpreter.allocate_tensors()
    return interpreter
