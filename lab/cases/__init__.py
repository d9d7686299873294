"""Models and inputs that separate rules: what interpreters are asked."""
