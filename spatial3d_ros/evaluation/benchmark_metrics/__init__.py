"""The measures of the public benchmarks, as methods 5 defines them; plain values in and out."""
