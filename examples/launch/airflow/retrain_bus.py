"""A DAG of Airflow 3 that trains what Driftline asks for: the request is the conf of the run."""

from airflow.sdk import dag, get_current_context, task


@dag(dag_id="retrain_bus", schedule=None, catchup=False)
def retrain_bus():
    """One run for each request, under the id of the request."""

    @task
    def train():
        import json

        from streamer.training import job, parts

        record = get_current_context()["dag_run"].conf["request"]
        with job(json.dumps(record), actor="airflow") as training:
            train_rows, holdout = parts(training.table(holdout=0.2))
            print(f"{train_rows.num_rows} rows to train on, {holdout.num_rows} to compare on")
            training.trained("8")

    train()


retrain_bus()
