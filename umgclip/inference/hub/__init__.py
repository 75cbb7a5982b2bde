"""The Hugging Face hub: models are fetched from it and pushed to it by huggingface_hub's own client."""
