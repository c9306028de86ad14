"""Quality of alerts on simulated answers: false alarms, delays and transitions of ten ways to watch a mean."""
