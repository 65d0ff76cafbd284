"""The command line's built-in verbs: one module each, imported when its verb is called."""

__all__ = ["VERBS"]

#: Verb -> its short help, in the order of ``latentbench --help``: so that the help imports none of them.
VERBS = {
    "run": "Run BOARD, a board's name or its YAML file.",
    "plan": "Say what BOARD runs, a board's name or its YAML file, without its data.",
    "show": "Show the run whose key begins with RUN: what was measured, how, where and at what cost.",
    "leaderboard": (
        "Write the tables of BOARD, a board's name or its YAML file; without one, of every board that has records."
    ),
    "list": "List what is installed: plugins, or what they offer.",
    "data": "Get datasets ready.",
}
