"""The network: SigLIP views, structure, position, objects, 3D-SLIM decoder, grounding head."""
