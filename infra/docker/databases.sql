-- runs once, when an empty PostgreSQL starts for the first time
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
