"""
The simulated shop as the traffic of an experiment on λ2: `python -m training simulate-experiment`.

    traffic.py     who visits when, and what each visit brings
    client.py      the service over HTTP
    progress.py    visits under way
    truth.py       what λ2 is really worth, which only a simulated shop can know
    checks.py      the intervals of a report beside the truth
    words.py       a report in words and tables; beside.py: beside the truth
    simulation.py  one experiment, from its first visit to its report
    command.py     the command line
"""
