"""What learns in a tuned model: LoRA, Convpass or all weights; and their files."""
