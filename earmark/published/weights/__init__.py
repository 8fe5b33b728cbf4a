"""Published weights of VGGish and SoundNet: from the files they came in to safetensors."""
