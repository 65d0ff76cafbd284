"""The command line's built-in commands (verbs): one module each, imported when its command is called."""

__all__ = ["VERBS"]

#: Verb -> its short help, in the order of ``latentbench --help``, so that the help need not import the modules.
VERBS = {
    "run": "Run BOARD, a board's name or its YAML file.",
    "plan": "List the runs of BOARD, a board's name or its YAML file.",
    "runs": "List the runs in the results folder, with their keys.",
    "show": "Show RUN: what was measured, how, where and at what cost.",
    "compare": "Compare A and B: in which settings they differ, and how far each value does.",
    "rm": "Remove runs from the results folder.",
    "repeat": "Make RUN again from its record alone, in another folder: to check it, or to have its weights.",
    "score": "Score pictures of your own, files or folders of them, with the model of RUN.",
    "leaderboard": "Show the tables of BOARD, a board's name or its YAML file, and write them in full into files.",
    "plot": "Draw one column of BOARD, a board's name or its YAML file, against another, with a point for each row.",
    "findings": "Say what the records leave of the published headlines in FILE, a YAML file.",
    "verify": "Say of published numbers whether they come out, from the records alone.",
    "claims": "Check, render, quote or describe files of published numbers.",
    "evaluate": "Compute metrics for finished runs, without training: for those of a BOARD, for one KEY, or for all.",
    "check-records": "Check the records in FOLDER, by default those in the results folder.",
    "list": "List what is installed: plugins, or what they offer.",
    "data": "Prepare, inspect and verify datasets.",
}
