"""Registration of the tuned model as an MLflow version, and the gates that decide on the champion."""
