"""The conformance kit: what a model, a dataset or a metric promises, tried out by running it.

For a plugin's own tests, with any test runner; broken promises are an AssertionError with a line for each::

    from latentbench.testing import check_model


    def test_my_model_keeps_its_promises():
        check_model(MyModel)
"""

from latentbench.testing.datasets import check_dataset
from latentbench.testing.metrics import check_metric
from latentbench.testing.models import check_model

__all__ = ["check_dataset", "check_metric", "check_model"]
