"""Tables, figures and pages out of scores that others computed."""
