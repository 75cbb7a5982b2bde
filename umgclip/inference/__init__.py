"""The tuned model as something that answers, without a registry: from Python, from requests, and as exports."""
