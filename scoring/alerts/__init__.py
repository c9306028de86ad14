"""Alerts, pure: rules, the state of an alert, detectors and the evidence; nothing here reads a clock or a topic."""
