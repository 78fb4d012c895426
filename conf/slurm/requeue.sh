# Sourced by job scripts before srun: puts the job back into the queue when its run was asked to stop.
#
# 75 is what a run exits with after SIGUSR1 or SIGTERM, once its checkpoint is written; 138 is
# SIGUSR1 before the run could listen, while Python was importing. SLURM itself requeues a job whose
# node failed. A job that was cancelled is no longer RUNNING, and stays cancelled.

requeue_if_stopped() {
    local status=$?
    local job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
    job=${job:-$SLURM_JOB_ID}
    if [[ $status == 75 || $status == 138 ]] && [[ $(squeue -h -j "$job" -o %T) == RUNNING ]]; then
        echo "the run was asked to stop (status $status): requeuing job $job"
        scontrol requeue "$job"
    fi
    exit "$status"
}
trap requeue_if_stopped EXIT
