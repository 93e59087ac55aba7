"""Plans the artefacts that editors share: spectra, norm anchors, and training."""
