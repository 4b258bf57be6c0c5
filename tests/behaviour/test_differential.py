"""The rule of `differential`, by which predictions of random fits are compared with NumPy in float64."""

from differential import Case, draw, run


def test_a_case_is_what_its_line_says():
    case = draw(3)
    assert eval(repr(case), {"Case": Case}) == case
    assert run(case).errors == run(case).errors


def test_the_rule_can_fail():
    """A wrong model fails, a right one passes, and a word helps only where rows are lost."""
    right = run(Case(seed=0))
    assert right.passes and right.errors != (0, 0)
    right.errors = (2e-8, 0.0)
    assert not right.passes
    narrow = run(Case(seed=0, dtype="f4"))
    assert narrow.passes and max(narrow.errors) > 1e-9
    for way, passes in (("fit", False), ("fit_batches", False), ("merge", True)):
        lost = run(Case(seed=0, dtype="f4", way=way))
        lost.errors, lost.raised = (1.0, 1.0), ValueError("use product_dtype='float64'")
        assert lost.passes == passes
        lost.raised = ValueError("something else")
        assert not lost.passes
