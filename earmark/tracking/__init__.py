"""MLflow: a run for each training and one parent that holds params, scores and the ensemble.

The only package that imports mlflow. Tracking never ends a stage: where the store refuses, one
warning is logged, and the stage goes on untracked.
"""
