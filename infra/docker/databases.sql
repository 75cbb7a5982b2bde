-- run once, by the first start of an empty PostgreSQL
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
