"""The conformance kit: checks by running it that a model, a dataset or a metric fulfils its contract.

Use it in a plugin's tests, with any test runner. It raises an AssertionError with one line per broken promise::

    from latentbench.testing import check_model


    def test_my_model_keeps_its_promises():
        check_model(MyModel)
"""

from latentbench.testing.datasets import check_dataset
from latentbench.testing.metrics import check_metric
from latentbench.testing.models import check_model
from latentbench.testing.options import check_options

__all__ = ["check_dataset", "check_metric", "check_model", "check_options"]
