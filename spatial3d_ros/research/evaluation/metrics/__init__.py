"""The measures of the public benchmarks, as METHODS 5 defines them; plain values in and out."""
