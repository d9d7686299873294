"""Every exact runtime, every operator, and the evidence for both."""
