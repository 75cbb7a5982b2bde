"""Registration: the tuned model as an MLflow version, and the gates that move the champion."""
