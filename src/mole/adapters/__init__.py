"""The estimators in other libraries' protocols: river and scikit-learn, one file each, each behind its extra."""
