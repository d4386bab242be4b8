"""The stages of a run, each a module with a function of its name: prepare → train → evaluate → merge.

Each reads what the stage before wrote, and writes its own part of the run folder so that it is whole or
absent. What is there already is not computed again; only merge, which is quick, always writes afresh.
Nothing is imported here: merge needs none of what the others take seconds to import.
"""
