"""What is hidden in an episode and when it changes.

- `schedule`: a schedule as a pure function of step and seed; `text`: schedules from text and from a user's arguments.
"""
